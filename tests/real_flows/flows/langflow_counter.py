# mypy: ignore-errors
# It runs in the environment of Langflow, which is not ours.
"""Prints a flow, as Langflow takes it, that counts the turns of a conversation from Langflow's messages."""

import json

from lfx.components.input_output import ChatInput, ChatOutput
from lfx.custom.eval import eval_custom_component_code
from lfx.graph import Graph

COUNTER = """
import asyncio

from langchain_core.messages import AIMessageChunk
from lfx.custom.custom_component.component import Component
from lfx.io import MessageInput, MessageTextInput, Output
from lfx.memory import aget_messages
from lfx.schema.message import Message


class Counter(Component):
    display_name = "Counter"
    name = "Counter"
    inputs = [
        MessageInput(name="message", display_name="Message"),
        MessageTextInput(name="word", display_name="Word", value="turn"),
    ]
    outputs = [Output(name="answer", display_name="Answer", method="count")]

    async def count(self) -> Message:
        question = self.message.text
        if question == "boom":
            raise ValueError("it broke on purpose")
        if question.startswith("call "):
            await call(int(question.split()[1]))
        graph = self.graph
        said = await aget_messages(session_id=graph.session_id, flow_id=graph.flow_id, order="ASC")
        if question == "what was said?":
            return Message(text=" | ".join(f"{each.sender}: {each.text}" for each in said))
        turn = 1 + sum(each.sender == "Machine" for each in said)
        if question.startswith("stream "):
            return Message(text=words(f"{self.word} {turn}: {question}"), sender="Machine", sender_name="AI")
        return Message(text=f"{self.word} {turn}: {question}")


async def call(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.read()  # until they hang up
    writer.close()


async def words(text):
    first, *others = text.split(" ")
    yield AIMessageChunk(content=first)
    for word in others:
        yield AIMessageChunk(content=f" {word}")
"""

chat_input = ChatInput()
counter = eval_custom_component_code(COUNTER)(_code=COUNTER)
counter.set(message=chat_input.message_response)
chat_output = ChatOutput()
chat_output.set(input_value=counter.count)
flow = Graph(chat_input, chat_output).dump(name="Counts turns", description="Answers with the number of the turn")
print(json.dumps({name: flow[name] for name in ("name", "description", "data")}))
