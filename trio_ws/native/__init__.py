"""The compiled core beside the frame codec: state in C structs, messages in one call.

`choice` says what runs. The classes of `state` are the pure form of the structs; the C files begin with `core.h`.
"""
