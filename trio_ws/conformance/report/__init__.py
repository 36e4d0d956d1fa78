"""The reports of a run, on a terminal, as JSON, as JUnit XML, and as pages of HTML.

Here: one module for each.
Not here: verdicts (`results`).
Start with `folder`, which puts them together.
"""
