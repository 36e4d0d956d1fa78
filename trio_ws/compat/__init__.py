"""The public interfaces of other libraries over this one, each in a module of its own, imported on demand.

A program moves by one changed import. Nothing else of the library imports this folder.
"""
