"""Services as the W3C trace-context validation suite wants them.

`POST /test` takes a JSON array of `{"url": ..., "arguments": ...}` and posts each `arguments` on to its `url`. To
point the suite of https://github.com/w3c/trace-context at them:

    python -m uvicorn w3c.fastapi_httpx:app --app-dir tests --port 5001
    gunicorn --chdir tests --bind 127.0.0.1:5002 w3c.flask_requests:app
    python test/test.py http://127.0.0.1:5001/test      # in a clone of the suite
"""
