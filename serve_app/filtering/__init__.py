"""The content filter: phrases and personal data, in prompts and in answers as they are written."""

from serve_app.filtering.classification import Classification
from serve_app.filtering.classifier import Classifier, Judge, ServeClassifier
from serve_app.filtering.config import FilteringConfig, LexiconConfig, PersonalData
from serve_app.filtering.filter import ContentFilter, Reload
from serve_app.filtering.frames import AnswerFilter
from serve_app.filtering.lexicon import LexiconInvalid
from serve_app.filtering.prompt import PromptCheck
from serve_app.filtering.rules import RuleConfig
from serve_app.filtering.verdict import Action, Finding, Scanned, Verdict

__all__ = [
    "Action",
    "AnswerFilter",
    "Classification",
    "Classifier",
    "ContentFilter",
    "FilteringConfig",
    "Finding",
    "Judge",
    "LexiconConfig",
    "LexiconInvalid",
    "PersonalData",
    "PromptCheck",
    "Reload",
    "RuleConfig",
    "Scanned",
    "ServeClassifier",
    "Verdict",
]
