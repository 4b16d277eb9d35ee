"""Applications that a function mounts in an application of others, as chat interfaces offer it."""

from fastapi import FastAPI


def lifespan(app):
    yield


chat = FastAPI(lifespan=lifespan)  # expect: TMW301
panel = FastAPI()
chat.mount("/files", make_files())


def mount_chat(app, path="/chat"):
    app.mount(path, chat)


def mount_panel(app):
    app.mount("/panel", panel)
