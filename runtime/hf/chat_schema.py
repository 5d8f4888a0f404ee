"""The body of /chat, as KAITO's transformers runtime has it."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from pykaito.runtime.hf.body import Body, Integer, Text, with_nulls, without_nulls
from pykaito.runtime.hf.openai_schema import MAX_SEQUENCES, Message

TokenId = Annotated[Integer, Field(ge=0)]
TokenIds = Annotated[
    list[TokenId], Field(min_length=1, max_length=1024, fail_fast=True)
]
Count = Annotated[Integer, Field(ge=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Sequences = Annotated[Integer, Field(ge=1, le=MAX_SEQUENCES)]

#: Arguments of ``generate`` that are known and refused, and why.
REFUSED = {
    "assistant_model": "there is no second model here",
    "custom_generate": "it would run code from the hub",
    "dola_layers": "transformers 5 has no DoLa decoding any more",
    "penalty_alpha": "transformers 5 has no contrastive search any more",
    "prompt_lookup_num_tokens": "it changes speed only, and is not offered",
    "seed": "it is no argument of generate: use /v1/completions",
    "stop_strings": "use stop of /v1/completions",
    "streamer": "use stream of /v1/completions or /v1/chat/completions",
}


def _with_a_prompt(schema: dict[str, Any]) -> None:
    with_nulls(schema)
    schema["anyOf"] = [
        {"properties": {name: {"type": kind}}, "required": [name]}
        for name, kind in (("prompt", "string"), ("messages", "array"))
    ]


def _described(schema: dict[str, Any]) -> None:
    with_nulls(schema)
    schema["properties"] |= {
        name: {"description": f"Not supported: {reason}.", "type": "null"}
        for name, reason in REFUSED.items()
    }


def _must_be(value: float) -> Any:
    """Describe the one value that a field's validator lets pass."""
    return Field(json_schema_extra={"const": value})


class GenerateKwargs(Body):
    """Arguments of transformers' ``generate``, with KAITO's defaults.

    null means the default. ``output_scores`` and ``return_dict_in_generate``
    are accepted; the reply has text alone, so they change nothing.
    """

    model_config = ConfigDict(json_schema_extra=_described)

    #: Tokens of prompt and answer together; ``max_new_tokens`` goes before it.
    max_length: Annotated[Integer, Field(ge=1)] = 200
    max_new_tokens: Annotated[Integer, Field(ge=1)] | None = None
    min_length: Count = 0
    min_new_tokens: Count | None = None
    do_sample: bool = True
    early_stopping: bool | Literal["never"] = False
    num_beams: Sequences = 1
    num_beam_groups: Annotated[Integer, _must_be(1)] = 1
    diversity_penalty: Annotated[float, _must_be(0)] = 0.0
    temperature: Annotated[float, Field(ge=1e-4, le=100)] = 1.0
    top_k: Count = 10
    top_p: Share = 1.0
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    typical_p: Share = 1.0
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] = 1.0
    length_penalty: Annotated[float, Field(ge=-10, le=10)] = 1.0
    no_repeat_ngram_size: Count = 0
    encoder_no_repeat_ngram_size: Count = 0
    bad_words_ids: (
        Annotated[list[TokenIds], Field(min_length=1, max_length=1024, fail_fast=True)]
        | None
    ) = None
    num_return_sequences: Sequences = 1
    output_scores: bool = False
    return_dict_in_generate: bool = False
    pad_token_id: TokenId | None = None
    eos_token_id: TokenId | TokenIds | None = None
    forced_bos_token_id: TokenId | None = None
    forced_eos_token_id: TokenId | TokenIds | None = None
    remove_invalid_values: bool = False

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, values: Any) -> Any:
        given = without_nulls(values, *cls.model_fields, *REFUSED)
        for name, reason in REFUSED.items():
            if isinstance(given, dict) and name in given:
                raise ValueError(f"{name} is not supported: {reason}")
        return given

    @field_validator("num_beam_groups")
    @classmethod
    def _one_group(cls, groups: int) -> int:
        if groups != 1:
            raise ValueError(
                "must be 1: transformers 5 has no group beam search any more "
                "(it needs code from the hub); use num_beams"
            )
        return groups

    @field_validator("diversity_penalty")
    @classmethod
    def _no_groups_no_diversity(cls, penalty: float) -> float:
        if penalty != 0:
            raise ValueError("must be 0: it works between beam groups only")
        return penalty

    @model_validator(mode="after")
    def _sequences_are_possible(self) -> "GenerateKwargs":
        if self.num_beams > 1 and self.num_return_sequences > self.num_beams:
            raise ValueError(
                f"num_return_sequences is {self.num_return_sequences}, "
                f"must be num_beams ({self.num_beams}) at most"
            )
        if not self.do_sample and self.num_beams == 1 < self.num_return_sequences:
            raise ValueError(
                f"num_return_sequences is {self.num_return_sequences}, must be 1 "
                "with do_sample false and num_beams 1: they would all be the same"
            )
        return self


class ChatBody(Body):
    """The body of /chat. null means the default."""

    model_config = ConfigDict(json_schema_extra=_with_a_prompt)

    prompt: Text | None = None
    messages: Annotated[list[Message], Field(min_length=1, fail_fast=True)] | None = (
        None
    )
    #: Whether the answer begins with the prompt.
    return_full_text: bool = True
    clean_up_tokenization_spaces: bool = False
    #: Text before the prompt.
    prefix: Text | None = None
    #: "hole": a prompt that is too long loses its beginning.
    handle_long_generation: Literal["hole"] | None = None
    generate_kwargs: GenerateKwargs = Field(default_factory=GenerateKwargs)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, body: Any) -> Any:
        return without_nulls(body, *cls.model_fields)
