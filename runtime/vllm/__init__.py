"""The vLLM runtime: vLLM's own server, started as a Workspace asks for it.

``python -m pykaito.runtime.vllm`` starts it; ``docs/runtime-vllm.md`` has what it
adds to vLLM:

    command        flags, settings of the ConfigMap and adapters to vLLM's command line
    adapters       LoRA adapters, checked, and scaled by a copy of their configuration
    main           from the command line to the process's exit status
    model          the model's folder, fetched if it is a hub's
    download       the process that fetches it, and how far that is
    hub_files      which of a hub's files vLLM reads
    status_server  what the port answers until vLLM serves
    starting       the start, from its first moment to the first token
    ending         whether the server was told to end
    last_words     what its processes said before
    stages         how far it is, by what vLLM writes
    probe          /health/active: whether a token comes
    rate_limit     429 where too many requests wait
    openapi        the two above in /openapi.json
    middleware     the end of the start and the three above, as vLLM loads them, and
                   errors that end no connection
"""
