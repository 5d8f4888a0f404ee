"""Chat templates that write calls of tools as families of models do."""

_TOOLS = "{%- for tool in tools or [] -%}<|tool|>{{ tool | tojson }}{%- endfor -%}"
_ASKED = "{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"

#: Each call between tags of its own, which are ordinary text.
IN_TAGS = (
    _TOOLS
    + """
{%- for message in messages -%}
<|{{ message.role }}|>{{ message.content }}
{%- for call in message.tool_calls or [] %}
{%- set function = call.function %}
<tool_call>
{"name": "{{ function.name }}", "arguments": {{ function.arguments | tojson }}}
</tool_call>
{%- endfor -%}
<|end|>
{%- endfor -%}
"""
    + _ASKED
)

#: All calls in one list, behind a special token.
IN_LISTS = (
    _TOOLS
    + """
{%- for message in messages -%}
<|{{ message.role }}|>{{ message.content }}
{%- if message.tool_calls -%}<|calls|>{{ message.tool_calls | tojson }}{%- endif -%}
<|end|>
{%- endfor -%}
"""
    + _ASKED
)

#: The answer is the call.
ONE_AT_A_TIME = (
    _TOOLS
    + """
{%- for message in messages -%}
<|{{ message.role }}|>
{%- if message.tool_calls -%}
{%- if message.tool_calls | length > 1 -%}{{ raise_exception("one call") }}{%- endif -%}
{%- set function = message.tool_calls[0].function -%}
{"name": "{{ function.name }}", "parameters": {{ function.arguments | tojson }}}
{%- else -%}{{ message.content }}
{%- endif -%}
<|end|>
{%- endfor -%}
"""
    + _ASKED
)

WITHOUT_TOOLS = (
    """
{%- for message in messages -%}
<|{{ message.role }}|>{{ message.content }}<|end|>
{%- endfor -%}
"""
    + _ASKED
)
