"""Cafeto: the DTOs of the callback method, which its document uses and does not show."""

from pydantic import BaseModel, Field


class ChatRequestDto(BaseModel):
    message: str = Field(max_length=200)
    user: str = Field(default="Anonymous", pattern=r"^\w+$")


class ChatResponseDto(BaseModel):
    message: str
    user: str
