"""Ellar: what its live support room says, in words of ours.

The document's answers hold HTML, and in it what the visitor wrote, which its page then runs. These are plain text.
"""


def welcome(name: str = "") -> str:
    return f"Welcome {name} to our live support room!" if name else "Welcome to our live support room!"


def answer(data: str) -> str:
    return f'We have received your message:\n\n"{data}"\n\nWe shall get back to you.'
