"""The transformers runtime: one model behind ``/chat`` and OpenAI endpoints.

``python -m pykaito.runtime.hf`` starts it; ``docs/runtime-transformers.md`` has
the flags and the API. A request passes through, in this order:

    gate                 is the server ready, is the body small enough
    body, *_schema       the body's fields, their types and ranges
    *_api                one file per endpoint: body to request, chunks to reply
    prompts, sampling    text to tokens, fields to arguments of ``generate``
    tool_form            how the model writes calls of tools, by its chat template
    tool_calls           the calls in an answer, told apart from its text
    service              time limit, metrics and log line of one request
    engine               the contract: a request in, chunks of tokens out
    batch_engine         its implementation: one thread, and what it runs, which is
    scheduler, kv_cache  who is in the batch, and where their keys and values are
    model_runner         the model over the tokens of all of them
    ragged_attention     what its attention layers call
    batch_sampling       the next token of each
    static_generation    ``generate``, for what the batch does not do

``openapi`` and ``reply_schema`` describe all of it at ``/openapi.json``.
"""
