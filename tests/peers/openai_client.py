"""OpenAI's own client for Python against /v1, unmodified. Needs BASE_URL and TOKEN."""
import os

import openai

base, token = os.environ["BASE_URL"], os.environ["TOKEN"]
client = openai.OpenAI(base_url=base, api_key=token, timeout=60)


def user(text):
    return [{"role": "user", "content": text}]


assert "openclaw" in [model.id for model in client.models.list()]
assert client.models.retrieve("openclaw").id == "openclaw"

whole = client.chat.completions.create(model="openclaw", messages=user("hello #p1"))
assert whole.choices[0].message.content == "re: #p1 end", whole
assert whole.usage.total_tokens == 15, whole

pieces, usage = [], None
for chunk in client.chat.completions.create(
    model="openclaw", messages=user("[slow:400] hello #p2"), stream=True, stream_options={"include_usage": True}
):
    if chunk.choices and chunk.choices[0].delta.content:
        pieces.append(chunk.choices[0].delta.content)
    usage = chunk.usage or usage
assert "".join(pieces) == "re: #p2 end" and len(pieces) > 1, pieces
assert usage.total_tokens == 15, usage

response = client.responses.create(model="openclaw", input="hello #p3")
assert response.output_text == "re: #p3 end", response
with client.responses.stream(model="openclaw", input="[slow:400] hello #p4") as events:
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert deltas == "re: #p4 end", deltas
    assert events.get_final_response().output_text == "re: #p4 end"


def refused(kind, **request):
    try:
        client.chat.completions.create(**{"model": "openclaw", "messages": user("hi"), **request})
    except kind as error:
        assert error.body["message"], error.body
    else:
        raise AssertionError(f"{request} was not refused")


vectors = client.embeddings.create(model="openclaw", input=["car", "nothing"])
assert [round(x, 1) for x in vectors.data[0].embedding] == [1.0, 0.0, 0.0, 0.1], vectors
plain = client.embeddings.create(model="openclaw", input="car", encoding_format="float")
assert [round(x, 1) for x in plain.data[0].embedding] == [1.0, 0.0, 0.0, 0.1], plain
assert plain.usage.total_tokens == 1, plain
try:
    client.embeddings.create(model="openclaw", input=[[1, 2, 3]])
except openai.BadRequestError as error:
    assert error.body["param"] == "input", error.body
else:
    raise AssertionError("tokens were taken")

refused(openai.NotFoundError, model="gpt-4o")
refused(openai.BadRequestError, n=2)
refused(openai.InternalServerError, messages=user("[status:401] #p5"))
try:
    openai.OpenAI(base_url=base, api_key="claw_wrong").models.list()
except openai.AuthenticationError:
    pass
else:
    raise AssertionError("a wrong key was let in")
print("openai for python: all steps passed")
