# mypy: ignore-errors
# It runs in the environment of lfx, which is not ours.
"""Counts the turns of a conversation, from nothing but the question: ``lfx serve`` keeps none."""

import asyncio
from collections.abc import AsyncIterator

from langchain_core.messages import AIMessageChunk
from lfx.components.input_output import ChatInput, ChatOutput
from lfx.custom.custom_component.component import Component
from lfx.graph import Graph
from lfx.io import MessageInput, Output
from lfx.schema.message import Message


class Counter(Component):
    display_name = "Counter"
    name = "Counter"
    inputs = [MessageInput(name="message", display_name="Message")]  # noqa: RUF012  # it wants lists
    outputs = [Output(name="answer", display_name="Answer", method="count")]  # noqa: RUF012

    async def count(self) -> Message:
        *earlier, question = self.message.text.split("\n")
        if question == "boom":
            raise ValueError("it broke on purpose")
        if question.startswith("call "):
            await call(int(question.split()[1]))
        if question == "what was said?":
            return Message(text=" | ".join(line for line in earlier if line.startswith(("User: ", "Assistant: "))))
        turn = 1 + sum(line.startswith("User: ") for line in earlier)
        if question.startswith("stream "):
            return Message(text=words(f"turn {turn}: {question}"), sender="Machine", sender_name="AI")
        return Message(text=f"turn {turn}: {question}")


async def call(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.read()  # until they hang up
    writer.close()


async def words(text: str) -> AsyncIterator[AIMessageChunk]:
    first, *others = text.split(" ")
    yield AIMessageChunk(content=first)
    for word in others:
        yield AIMessageChunk(content=f" {word}")


chat_input = ChatInput()
counter = Counter()
counter.set(message=chat_input.message_response)
chat_output = ChatOutput()
chat_output.set(input_value=counter.count)
graph = Graph(chat_input, chat_output)
