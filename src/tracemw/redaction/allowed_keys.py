"""The keys of attributes whose values may leave: the allowlist.

* what the OpenTelemetry semantic conventions v1.44 define and is no value of a user, with the former names
* what well-known instrumentations add
* tracemw's own

What is missing is missing by intent: `user.*` and `enduser.*`, prompts and completions of models, GraphQL documents,
parameters of queries, keys of messages and objects, sessions.
"""

from __future__ import annotations

from typing import Final


def _each(namespace: str, names: str) -> set[str]:
    return {f"{namespace}.{name}" for name in names.split()}


KEYS: Final = frozenset(
    _each(
        "http",
        "request.method request.method_original request.resend_count request.size request.body.size "
        "response.status_code response.size response.body.size route connection.state "
        "method url target host scheme flavor server_name status_code status_text user_agent client_ip retry_count "
        "resend_count request_content_length request_content_length_uncompressed response_content_length "
        "response_content_length_uncompressed",
    )
    | _each(
        "url",
        "full original scheme path query template domain extension port registered_domain subdomain top_level_domain",
    )
    | _each(
        "network",
        "protocol.name protocol.version transport type peer.address peer.port local.address local.port "
        "connection.type connection.subtype connection.state interface.name io.direction carrier.name carrier.mcc "
        "carrier.mnc carrier.icc",
    )
    | _each(
        "net",
        "host.name host.ip host.port peer.name peer.ip peer.port transport protocol.name protocol.version "
        "app.protocol.name app.protocol.version sock.family sock.peer.addr sock.peer.name sock.peer.port "
        "sock.host.addr sock.host.port host.connection.type host.connection.subtype",
    )
    | _each("server", "address port socket.address socket.port socket.domain")
    | _each("client", "address port socket.address socket.port")
    | _each("source", "address port domain")
    | _each("destination", "address port domain")
    | _each("peer", "service hostname address port ipv4 ipv6")
    | _each("user_agent", "original name version os.name os.version synthetic.type")
    | _each("tls", "protocol.name protocol.version cipher curve established resumed next_protocol")
    | _each("dns", "question.name")
    | _each(
        "db",
        "system system.name namespace name operation operation.name operation.batch.size collection.name query.text "
        "query.summary statement stored_procedure.name response.status_code response.returned_rows sql.table "
        "instance.id client.connection.pool.name client.connection.state client.connections.pool.name "
        "client.connections.state pool.name row_count redis.database_index redis.args_length redis.pipeline_length "
        "mongodb.collection cassandra.table cassandra.consistency_level cassandra.coordinator.dc "
        "cassandra.coordinator.id cassandra.idempotence cassandra.page_size cassandra.speculative_execution_count "
        "cosmosdb.container cosmosdb.operation_type cosmosdb.request_charge cosmosdb.status_code "
        "cosmosdb.sub_status_code cosmosdb.connection_mode elasticsearch.cluster.name elasticsearch.node.name "
        "mssql.instance_name jdbc.driver_classname",
    )
    | _each(
        "cassandra",
        "consistency.level coordinator.dc coordinator.id page.size query.idempotent speculative_execution.count",
    )
    | _each(
        "rpc",
        "system system.name service method method_original response.status_code grpc.status_code "
        "jsonrpc.version jsonrpc.error_code connect_rpc.error_code message.type message.id "
        "message.compressed_size message.uncompressed_size",
    )
    | _each("message", "type id compressed_size uncompressed_size")
    | _each(
        "messaging",
        "system operation operation.name operation.type destination destination.name destination.kind destination_kind "
        "destination.template destination.temporary destination.anonymous destination.partition.id "
        "destination.subscription.name destination_publish.name destination_publish.anonymous temp_destination "
        "batch.message_count client.id client_id consumer.group.name consumer_id consumer_group message.id message_id "
        "message.conversation_id conversation_id message.body.size message.envelope.size message.payload_size_bytes "
        "message_payload_size_bytes protocol protocol_version kafka.partition kafka.destination.partition "
        "kafka.message.offset kafka.offset kafka.message.tombstone kafka.consumer.group kafka.client_id "
        "kafka.cluster.id rabbitmq.destination.routing_key rabbitmq.message.delivery_tag rabbitmq.routing_key "
        "servicebus.disposition_status servicebus.message.delivery_count servicebus.message.enqueued_time "
        "gcp_pubsub.message.delivery_attempt gcp_pubsub.message.ack_deadline rocketmq.namespace rocketmq.client_group "
        "rocketmq.message.type rocketmq.consumption_model",
    )
    | _each("exception", "type message stacktrace escaped")
    | _each("error", "type message stage")
    | _each(
        "code", "function function.name namespace filepath file.path lineno line.number column column.number stacktrace"
    )
    | _each("thread", "id name")
    | _each(
        "process",
        "pid parent_pid executable.name executable.path command command_args command_line runtime.name "
        "runtime.version runtime.description owner",
    )
    | _each("event", "name domain")
    | _each("log", "level logger message iostream file.name file.path")
    | _each(
        "gen_ai",
        "system provider.name operation.name request.model response.model request.max_tokens request.temperature "
        "request.top_p request.top_k request.frequency_penalty request.presence_penalty request.seed request.stream "
        "request.choice.count request.encoding_formats response.id response.finish_reasons "
        "response.time_to_first_chunk usage.input_tokens usage.output_tokens usage.prompt_tokens "
        "usage.completion_tokens usage.total_tokens usage.cache_creation.input_tokens usage.cache_read.input_tokens "
        "usage.reasoning.output_tokens output.type token.type tool.name tool.type agent.id agent.name agent.version "
        "data_source.id workflow.name embeddings.dimension.count evaluation.name",
    )
    | _each("llm", "request.type usage.total_tokens is_streaming")
    | _each("graphql", "operation.name operation.type")
    | _each("feature_flag", "key provider.name provider_name result.variant result.reason variant set.id version")
    | _each(
        "faas",
        "name id version instance trigger execution invocation_id coldstart cron max_memory invoked_name "
        "invoked_provider invoked_region",
    )
    | _each(
        "aws",
        "request_id extended_request_id region service operation lambda.invoked_arn "
        "dynamodb.table_names dynamodb.consistent_read dynamodb.count dynamodb.limit dynamodb.index_name "
        "dynamodb.scanned_count dynamodb.consumed_capacity s3.bucket s3.part_number sqs.queue_url sqs.queue.url "
        "sns.topic.arn kinesis.stream_name bedrock.guardrail.id bedrock.knowledge_base.id",
    )
    | _each("celery", "action state hostname retries delivery_info timelimit routing_key queue task_name")
    | _each("asgi", "event.type")
    | _each("wsgi", "flavor")
    | _each("flask", "route")
    | _each("django", "view_name")
    | _each("cpython", "gc.generation")
    | {
        # What others add: the official instrumentations, Celery, FastAPI, boto, SQLAlchemy, psycopg, logging
        *(
            "component",
            "span.kind",
            "celery.group.id",
            "retry_attempts",
            "aiohttp.route",
            "fastapi.route",
            "boto.service",
        ),
        *("peer.service", "db.cursor.rowcount", "user.hash", "opentracing.ref_type"),
        *("fastapi.arguments.values.count", "sqlalchemy.batch_size", "elasticsearch.url", "elasticsearch.method"),
        *("rpc.grpc.target", "code.module", "test.case.name", "test.case.result.status", "test.suite.name"),
    }
)
"""Keys that are allowed."""

LABELS: Final = frozenset(
    {
        *(
            "type",
            "state",
            "status",
            "device",
            "direction",
            "cpu",
            "generation",
            "gc",
            "pool",
            "queue",
            "worker",
            "level",
        ),
        *("pool.name", "le", "quantile", "reason", "outcome", "result"),
    }
)
"""Keys that metrics of systems and runtimes have, and that are allowed there only."""

PREFIXES: Final = (
    *("tracemw.", "otel.", "telemetry.", "service.", "deployment.", "host.", "container.", "k8s.", "cloud.", "os."),
    *("process.runtime.", "system.", "jvm.", "faas.instance", "aws.ecs.", "aws.eks.", "gcp.", "azure.resource"),
    *("http.request.header.", "http.response.header.", "rpc.request.metadata.", "rpc.response.metadata."),
    *("rpc.grpc.request.metadata.", "rpc.grpc.response.metadata.", "rpc.connect_rpc.request.metadata.", "webengine."),
)
"""Namespaces that are allowed as a whole. Names of headers are looked at once more."""

OF_HEADERS: Final = (
    *("http.request.header.", "http.response.header.", "rpc.request.metadata.", "rpc.response.metadata."),
    *("rpc.grpc.request.metadata.", "rpc.grpc.response.metadata.", "rpc.connect_rpc.request.metadata."),
)
"""Namespaces of captured headers."""

SECRET_HEADERS: Final = frozenset(
    {
        *(
            "authorization",
            "proxy-authorization",
            "cookie",
            "set-cookie",
            "cookie2",
            "set-cookie2",
            "x-api-key",
            "api-key",
        ),
        *("apikey", "x-apikey", "x-auth", "x-auth-token", "x-access-token", "x-amz-security-token", "x-csrf-token"),
        *(
            "x-csrftoken",
            "x-xsrf-token",
            "x-vault-token",
            "x-gitlab-token",
            "x-goog-api-key",
            "x-goog-iap-jwt-assertion",
        ),
        *(
            "x-amzn-oidc-data",
            "x-amzn-oidc-accesstoken",
            "x-forwarded-client-cert",
            "x-client-cert",
            "x-ssl-client-cert",
        ),
        *(
            "x-forwarded-access-token",
            "x-forwarded-email",
            "x-forwarded-user",
            "x-hub-signature",
            "x-hub-signature-256",
        ),
        *("x-signature", "x-slack-signature", "stripe-signature", "x-twilio-signature", "x-shopify-hmac-sha256"),
        *("x-session-id", "x-session", "authentication", "authentication-info", "proxy-authentication-info", "dpop"),
        *(
            "x-ms-client-principal",
            "x-ms-token-aad-access-token",
            "x-ms-token-aad-id-token",
            "ocp-apim-subscription-key",
        ),
        *("cf-access-jwt-assertion", "x-remote-user", "remote-user", "x-user-email", "x-secret", "x-token", "x-jwt"),
    }
)
"""Headers that are credentials. Their values do not leave unless `Redaction(headers=...)` names them."""

URLS: Final = frozenset({"url.full", "url.original", "http.url", "http.target", "elasticsearch.url"})
PATHS: Final = frozenset({"url.path"})
QUERIES: Final = frozenset({"url.query"})
AGENTS: Final = frozenset({"user_agent.original", "http.user_agent"})
WORDS: Final = frozenset(
    {
        *("http.request.method", "http.method", "url.scheme", "http.scheme", "http.flavor", "network.protocol.name"),
        *("network.protocol.version", "network.transport", "network.type", "net.transport", "net.protocol.name"),
        *("net.protocol.version", "db.system.name", "db.system", "db.operation.name", "db.operation", "rpc.system"),
        *("rpc.system.name", "messaging.system", "messaging.operation", "messaging.operation.type", "asgi.event.type"),
        *("tracemw.kept", "span.kind", "log.level", "exception.escaped"),
    }
)
STATEMENTS: Final = frozenset({"db.query.text", "db.statement"})
"""Keys whose values have a form that is looked at in its own way."""
