"""The document that Google's clients build themselves from.

Owns the description of Perspective's two methods and their messages, in Google's discovery format. Refuses to know how
they are answered. https://developers.google.com/discovery/v1/reference/apis
"""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request

VERSION = "v1alpha1"
_HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(?::\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::\d{1,5})?")

Json = dict[str, Any]


def root_url(request: Request, configured: str | None) -> str:
    """This server's address as its clients see it, with a closing slash; they send every call there."""
    if configured is not None:
        return configured.rstrip("/") + "/"
    scheme = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):  # it is repeated to the caller
        host = "localhost"
    return f"{scheme if scheme in ('http', 'https') else request.url.scheme}://{host}/"


def document(root: str) -> Json:
    """The discovery document of a server at this address."""
    return {
        "kind": "discovery#restDescription",
        "discoveryVersion": "v1",
        "id": f"commentanalyzer:{VERSION}",
        "name": "commentanalyzer",
        "version": VERSION,
        "revision": "20260101",
        "title": "Perspective Comment Analyzer API",
        "description": "Scores of comments, answered by Weir in the shape of the Perspective API.",
        "documentationLink": "https://developers.perspectiveapi.com/",
        "ownerDomain": "google.com",
        "ownerName": "Google",
        "protocol": "rest",
        "rootUrl": root,
        "baseUrl": root,
        "basePath": "",
        "servicePath": "",
        "batchPath": "batch",
        "parameters": _PARAMETERS,
        "resources": {"comments": {"methods": {"analyze": _ANALYZE, "suggestscore": _SUGGEST}}},
        "schemas": {name: {"id": name, "type": "object", "properties": fields} for name, fields in _SCHEMAS.items()},
    }


def _query(description: str, **more: Any) -> Json:
    return {"type": "string", "location": "query", "description": description, **more}


def _method(name: str, request: str, response: str, description: str) -> Json:
    return {
        "id": f"commentanalyzer.comments.{name}",
        "path": f"{VERSION}/comments:{name}",
        "flatPath": f"{VERSION}/comments:{name}",
        "httpMethod": "POST",
        "description": description,
        "parameters": {},
        "parameterOrder": [],
        "request": {"$ref": request},
        "response": {"$ref": response},
    }


def _ref(name: str) -> Json:
    return {"$ref": name}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _map(values: Json) -> Json:
    return {"type": "object", "additionalProperties": values}


_TEXT: Json = {"type": "string"}
_FLAG: Json = {"type": "boolean"}
_FLOAT: Json = {"type": "number", "format": "float"}
_INDEX: Json = {"type": "integer", "format": "int32"}
_SCORE_TYPE: Json = {
    "type": "string",
    "enum": ["SCORE_TYPE_UNSPECIFIED", "PROBABILITY", "STD_DEV_SCORE", "PERCENTILE", "RAW"],
}
_TEXT_TYPE: Json = {"type": "string", "enum": ["TEXT_TYPE_UNSPECIFIED", "PLAIN_TEXT", "HTML"]}

_PARAMETERS: Json = {
    "key": _query("API key."),
    "alt": _query("Data format for response.", enum=["json"], default="json"),
    "fields": _query("Accepted and ignored."),
    "prettyPrint": {"type": "boolean", "location": "query", "default": "true", "description": "Accepted and ignored."},
    "quotaUser": _query("Accepted and ignored."),
    "access_token": _query("Accepted and ignored."),
    "oauth_token": _query("Accepted and ignored."),
    "callback": _query("Accepted and ignored."),
    "$.xgafv": _query("Accepted and ignored.", enum=["1", "2"]),
}

_ANALYZE = _method(
    *("analyze", "AnalyzeCommentRequest", "AnalyzeCommentResponse"),
    "Analyzes the provided text and returns scores for requested attributes.",
)
_SUGGEST = _method(
    *("suggestscore", "SuggestCommentScoreRequest", "SuggestCommentScoreResponse"),
    "Takes a moderator's scores of a comment as feedback.",
)

_SCHEMAS: dict[str, Json] = {
    "AnalyzeCommentRequest": {
        "comment": _ref("TextEntry"),
        "requestedAttributes": _map(_ref("AttributeParameters")),
        "languages": _list(_TEXT),
        "context": _ref("Context"),
        "spanAnnotations": _FLAG,
        "doNotStore": _FLAG,
        "clientToken": _TEXT,
        "sessionId": _TEXT,
        "communityId": _TEXT,
        "dropUnsupportedAttributes": _FLAG,
    },
    "AnalyzeCommentResponse": {
        "attributeScores": _map(_ref("AttributeScores")),
        "languages": _list(_TEXT),
        "detectedLanguages": _list(_TEXT),
        "clientToken": _TEXT,
    },
    "SuggestCommentScoreRequest": {
        "comment": _ref("TextEntry"),
        "attributeScores": _map(_ref("AttributeScores")),
        "languages": _list(_TEXT),
        "context": _ref("Context"),
        "clientToken": _TEXT,
        "sessionId": _TEXT,
        "communityId": _TEXT,
    },
    "SuggestCommentScoreResponse": {
        "requestedLanguages": _list(_TEXT),
        "detectedLanguages": _list(_TEXT),
        "clientToken": _TEXT,
    },
    "AttributeParameters": {"scoreType": _SCORE_TYPE, "scoreThreshold": _FLOAT},
    "AttributeScores": {"summaryScore": _ref("Score"), "spanScores": _list(_ref("SpanScore"))},
    "Score": {"value": _FLOAT, "type": _SCORE_TYPE},
    "SpanScore": {"begin": _INDEX, "end": _INDEX, "score": _ref("Score")},
    "TextEntry": {"text": _TEXT, "type": _TEXT_TYPE},
    "Context": {
        "entries": _list(_ref("TextEntry")),
        "articleAndParentComment": _ref("ArticleAndParentComment"),
    },
    "ArticleAndParentComment": {"article": _ref("TextEntry"), "parentComment": _ref("TextEntry")},
}
