"""The conformance suite, which tests any WebSocket server or client; the commands `conform` and `fuzz` run it.

Here: the cases as data, a peer that plays them, the judge, reports. Nothing of the library's own codec is used, since
that is among what the suite tests.
Not here: the command line (`cli`). Only its commands import this package, and they are the public interface, with their
reports and exit status: no name below may be relied on.
Start with `case`, then `chapters`.
"""
