"""The routes. `uvicorn --factory chat_service.app:create_app --workers 4`"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from chatcache import StreamLost
from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import AfterValidator, BaseModel, Field
from redis.exceptions import RedisError

from chat_service.chat import Chat, Reply
from chat_service.model import ModelError, StandInModel
from chat_service.settings import Settings

log = logging.getLogger(__name__)

PAGE = Path(__file__).with_name("page.html")

# A stream that is lost begins anew, this often in all.
BEGINNINGS = 3


def encodable(text: str) -> str:
    text.encode()  # raises a ValueError for half a character: JSON may have "\ud83d", no other text can
    return text


Text = Annotated[str, AfterValidator(encodable)]


class Question(BaseModel):
    user_id: Text = Field(min_length=1)
    persona: Text = Field(min_length=1)
    message: Text


class Said(BaseModel):
    response: str
    source: str


class Prompt(BaseModel):
    prompt: Text
    # Keep on giving the old responses, as stale, until new ones are there.
    soft: bool = False


class Invalidated(BaseModel):
    invalidated: int


def chat_of(request: Request) -> Chat:
    chat: Chat = request.app.state.chat
    return chat


TheChat = Annotated[Chat, Depends(chat_of)]


# A dependency, so that the source is known before the first byte is sent.
async def find(question: Question, chat: TheChat) -> Reply:
    return await chat.stream(question.user_id, question.persona, question.message)


def create_app(chat: Chat | None = None) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with chat or Chat(Settings(), StandInModel()) as app.state.chat:
            yield

    app = FastAPI(title="A chat service with chatcache", lifespan=lifespan)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE)

    @app.post("/chat")
    async def respond(question: Question, chat: TheChat) -> Said:
        answer = await chat.respond(question.user_id, question.persona, question.message)
        return Said(response=answer.value, source=answer.source)

    @app.post("/chat/stream", response_class=EventSourceResponse)
    async def stream(
        question: Question, chat: TheChat, reply: Annotated[Reply, Depends(find)]
    ) -> AsyncIterator[ServerSentEvent]:
        for _ in range(BEGINNINGS):
            yield ServerSentEvent(event="source", data=reply.source)
            try:
                async for piece in reply.pieces:
                    yield ServerSentEvent(data=piece)
                yield ServerSentEvent(event="done", data=None)
                return
            except ModelError as error:
                yield ServerSentEvent(event="error", data=str(error))
                return
            except StreamLost:
                # The response was read along with another process, whose model call failed or whose prompt has changed.
                # The user has a part of it, so the client is told to clear it, and a new response begins.
                yield ServerSentEvent(event="restart", data=None)
                reply = await find(question, chat)
        yield ServerSentEvent(event="error", data="the response was lost")

    # `:path`, as a name may have a slash.
    @app.post("/personas/{name:path}/prompt")
    async def change_prompt(name: str, change: Prompt, chat: TheChat) -> Invalidated:
        return Invalidated(invalidated=await chat.change_prompt(name, change.prompt, change.soft))

    @app.post("/deploy")
    async def deploy(chat: TheChat) -> Invalidated:
        return Invalidated(invalidated=await chat.deploy())

    @app.delete("/users/{user_id:path}")
    async def forget(user_id: str, chat: TheChat) -> Invalidated:
        return Invalidated(invalidated=await chat.forget(user_id))

    @app.get("/metrics")
    async def read_metrics(chat: TheChat) -> Response:
        return Response(await chat.metrics(), media_type=CONTENT_TYPE_LATEST)

    @app.exception_handler(ModelError)
    async def no_response(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status_code=502)

    @app.exception_handler(RequestValidationError)
    async def no_question(_: Request, error: RequestValidationError) -> JSONResponse:
        # Without what was sent, as FastAPI has it: that may be long, or nothing that can be sent back (NaN).
        wrong = [{"loc": one["loc"], "msg": one["msg"]} for one in error.errors()]
        return JSONResponse({"detail": wrong}, status_code=422)

    @app.exception_handler(RedisError)
    async def refused(_: Request, error: Exception) -> JSONResponse:
        log.warning("a change was refused: %s", error)
        return JSONResponse({"detail": "Redis could not be told; nothing may have changed"}, status_code=503)

    return app
