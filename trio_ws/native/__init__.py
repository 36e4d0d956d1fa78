"""The compiled core beside the frame codec, with state in C structs.

`choice` says what runs. The classes of `state` are the pure form of the structs; the C files begin with `core.h`.
"""
