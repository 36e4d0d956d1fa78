"""What may be compiled beyond the frame codec: state in C structs, messages in and out in one call each.

`choice` says what runs. The classes of `state` are the pure form of the structs; the C files begin with `core.h`.
"""
