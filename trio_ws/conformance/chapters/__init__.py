"""The tables of the cases, one module per chapter.

Here: chapters 1 to 13 under the ids of the published list, and from 20 on those that it lacks.
Not here: the words that the tables use (`case`, `steps`, `frames`, `outcomes`, `opening`), the list of all cases
(`catalogue`).
Start with `framing`, the shortest.
"""
