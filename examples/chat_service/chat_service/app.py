"""The routes. `uvicorn --factory chat_service.app:create_app --workers 4`"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import AfterValidator, BaseModel, Field
from redis.exceptions import RedisError

from chat_service import metrics
from chat_service.answers import Answer, Answers
from chat_service.model import ModelError, StandInModel
from chat_service.settings import Settings

log = logging.getLogger(__name__)


def encodable(text: str) -> str:
    text.encode()  # raises a ValueError for half a character: JSON may have "\ud83d", no other text can
    return text


Text = Annotated[str, AfterValidator(encodable)]


class Question(BaseModel):
    user_id: Text = Field(min_length=1)
    persona: Text = Field(min_length=1)
    message: Text


class Reply(BaseModel):
    answer: str
    source: metrics.Source


class Prompt(BaseModel):
    prompt: Text
    # Keep on giving the old answers, as stale, until new ones are there.
    soft: bool = False


class Dropped(BaseModel):
    dropped: int


def answers_of(request: Request) -> Answers:
    answers: Answers = request.app.state.answers
    return answers


TheAnswers = Annotated[Answers, Depends(answers_of)]


# A dependency, so that a stream has begun to come from somewhere before its first byte is sent.
async def find_answer(question: Question, answers: TheAnswers) -> Answer:
    return await answers.answer(question.user_id, question.persona, question.message)


TheAnswer = Annotated[Answer, Depends(find_answer)]


def create_app(answers: Answers | None = None) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with answers or Answers(Settings(), StandInModel()) as app.state.answers:
            yield

    app = FastAPI(title="A chat service with chatcache", lifespan=lifespan)

    @app.post("/chat")
    async def chat(answer: TheAnswer) -> Reply:
        return Reply(answer=await answer.text(), source=answer.source)

    @app.post("/chat/stream", response_class=EventSourceResponse)
    async def chat_stream(answer: TheAnswer) -> AsyncIterator[ServerSentEvent]:
        yield ServerSentEvent(event="source", data=answer.source)
        try:
            async for piece in answer.pieces:
                yield ServerSentEvent(data=piece)
            yield ServerSentEvent(event="done", data=None)
        except ModelError as error:
            yield ServerSentEvent(event="error", data=str(error))

    # `:path`, as a name may have a slash.
    @app.post("/personas/{name:path}/prompt")
    async def change_prompt(name: str, change: Prompt, answers: TheAnswers) -> Dropped:
        return Dropped(dropped=await answers.change_prompt(name, change.prompt, change.soft))

    @app.post("/deploy")
    async def deploy(answers: TheAnswers) -> Dropped:
        return Dropped(dropped=await answers.deploy())

    @app.delete("/users/{user_id:path}")
    async def forget(user_id: str, answers: TheAnswers) -> Dropped:
        return Dropped(dropped=await answers.forget(user_id))

    @app.get("/metrics")
    async def read_metrics(answers: TheAnswers) -> Response:
        text = metrics.exposition(await answers.stats(), await answers.info())
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    @app.exception_handler(ModelError)
    async def no_answer(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status_code=502)

    @app.exception_handler(RequestValidationError)
    async def no_question(_: Request, error: RequestValidationError) -> JSONResponse:
        # Without what was sent, as FastAPI has it: that may be long, or nothing that can be sent back (NaN).
        wrong = [{"loc": one["loc"], "msg": one["msg"]} for one in error.errors()]
        return JSONResponse({"detail": wrong}, status_code=422)

    @app.exception_handler(RedisError)
    async def not_told(_: Request, error: Exception) -> JSONResponse:
        log.warning("a change was refused: %s", error)
        return JSONResponse({"detail": "Redis could not be told; nothing may have changed"}, status_code=503)

    return app
