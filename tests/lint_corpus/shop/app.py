"""An application that another module traces, a factory, and one that nobody traces."""

from fastapi import FastAPI
from flask import Flask

api = FastAPI()
admin = Flask("admin")  # expect: TMW301


def create_app():
    made = FastAPI()
    return made
