-- What wrk asks of the shop.
wrk.method = "POST"
wrk.body = '{"item": "mug", "quantity": 1}'
wrk.headers["Content-Type"] = "application/json"
