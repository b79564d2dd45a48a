"""What a checkpoint has lost against another, and whether that is too much."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt


class Loss(BaseModel):
    """The comparison of a candidate with its reference, on the same tokens and questions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field(description="Name of the evaluation file.")
    sha256: str = Field(description="Of the evaluation file.")
    tokens: PositiveInt = Field(description="Held-out tokens that were predicted.")
    perplexity_reference: float = Field(ge=1, description="exp of the mean negative log likelihood.")
    perplexity_candidate: float = Field(ge=1, description="The same, of the candidate.")
    next_token_agreement: float = Field(
        ge=0, le=1, description="Share of positions at which both find the same token likeliest."
    )
    top_tokens: PositiveInt = Field(description="Tokens told apart in the divergence; all others are one.")
    kl_divergence_mean: NonNegativeFloat = Field(
        description="Of the candidate from the reference, nats; a lower bound unless top_tokens are all."
    )
    kl_divergence_p99: NonNegativeFloat = Field(description="Its 99th percentile over the positions, nats.")
    questions: NonNegativeInt = Field(description="Questions asked.")
    right_reference: NonNegativeInt = Field(description="Of them, answered exactly by the reference.")
    right_candidate: NonNegativeInt = Field(description="Of them, answered exactly by the candidate.")
    same_answers: NonNegativeInt = Field(description="Of them, answered by both in the same words.")

    @property
    def perplexity_loss(self) -> float:
        """How much larger the candidate's perplexity is: 0.02 is 2%; negative where it is smaller."""
        return self.perplexity_candidate / self.perplexity_reference - 1

    @property
    def answer_loss(self) -> float:
        """Share of the reference's right answers that the candidate has less of; 0 without any."""
        if not self.right_reference:
            return 0.0
        return max(0.0, 1 - self.right_candidate / self.right_reference)

    def excess(self, max_loss: float) -> str | None:
        """What is lost beyond ``max_loss`` (0.02 is 2%), in words; None if nothing is."""
        if self.perplexity_loss > max_loss:
            return f"perplexity is {self.perplexity_loss:.2%} above the original's, {max_loss:.2%} are allowed"
        if self.answer_loss > max_loss:
            return (
                f"{self.right_candidate} questions are answered right, {self.right_reference} by the original: "
                f"{self.answer_loss:.2%} are lost, {max_loss:.2%} are allowed"
            )
        return None
