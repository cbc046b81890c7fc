"""Nexus is plumbing: no prompt, ranking, rewriting or interpretation of content lives in it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import PurePosixPath

import pytest

# Clients and frameworks whose use would mean that content is being interpreted.
CLIENTS = {
    "ai21", "anthropic", "cohere", "ctransformers", "dspy", "fireworks", "google.generativeai",
    "google.genai", "groq", "guidance", "haystack", "huggingface_hub.inference", "instructor",
    "langchain", "langgraph", "litellm", "llama_cpp", "llama_index", "mistralai", "ollama",
    "openai", "outlines", "replicate", "semantic_kernel", "spacy", "nltk", "textblob", "together",
    "transformers", "vertexai", "vllm", "flashrank", "rank_bm25", "rerankers",
}  # fmt: skip

# Words of a name, in any of its spellings; a pair stands for two that follow one another.
WORDS = {
    "prompt", "prompts", "llm", "llms", "completion", "completions", "rerank", "reranker",
    "reranking", "reranked", "rank", "ranks", "ranker", "ranking", "ranked", "relevance",
    "relevancy", "summarize", "summarise", "summarizer", "summariser", "summarization",
    "summarisation", "paraphrase", "sentiment", "bm25", "tfidf", "rrf", "hallucination",
    "chatbot", "rewriter",
}  # fmt: skip
PAIRS = {
    ("score", "threshold"), ("similarity", "threshold"), ("min", "score"), ("minimum", "score"),
    ("min", "similarity"), ("max", "distance"), ("distance", "threshold"), ("re", "rank"),
    ("query", "rewrite"), ("rewrite", "query"), ("query", "expansion"), ("expand", "query"),
    ("few", "shot"), ("system", "message"), ("user", "message"), ("chat", "messages"),
    ("boost", "by"), ("hybrid", "search"), ("top", "p"), ("quality", "score"),
}  # fmt: skip

# What a text says that is meant for a model to obey.
VERB = r"(summari[sz]e|translate|paraphrase|rewrite|classify|rank|extract|rate)"
GIVEN = r"(context|question|query|passages?|documents?|chunks?|history)"
PHRASES = [
    re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    for pattern in (
        r"\byou are an? \w+",
        r"\b(act|behave|respond|reply|answer) (as|like) an?\b",
        r"\bas an? (ai|assistant|expert|language model|helpful)\b",
        r"\b(helpful|virtual|ai) assistant\b",
        rf"\b(given|using|use|based on) (only )?the (following|above|given|provided)? ?{GIVEN}\b",
        rf"\b{VERB} (the|this|these|each) (following|above|text|content|{GIVEN})\b",
        r"\banswer (the|this|only|each) (following )?(question|user|query)\b",
        r"\b(think|reason|explain)\b.{0,20}\bstep[ -]by[ -]step\b",
        r"\bdo not (make up|invent|hallucinate)\b",
        r"\bin (one|two|three|\d+) sentences\b.*:",
        r"^\s*(system|assistant|human)\s*:\s*\S",
        r"<\|\w+\|>|\[/?INST\]|<</?SYS>>",
        rf"\{{{GIVEN}\}}(.|\n)*\{{{GIVEN}\}}",
        r"\b(bm25|ts_rank\w*|re-?rank\w*)\b",
    )
]
PROMPT_FILES = {".prompt", ".jinja", ".jinja2", ".j2", ".mustache", ".hbs"}


def words(name: str) -> list[str]:
    """The words of a name: the same of ``min_score``, ``minScore`` and ``MIN-SCORE``."""
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    return [word.lower() for word in re.split(r"[^A-Za-z0-9]+", spaced) if word]


def name_faults(name: str) -> list[str]:
    parts = words(name)
    single = [word for word in parts if word in WORDS]
    pairs = [" ".join(pair) for pair in pairwise(parts) if pair in PAIRS]
    return [f"the name {name!r}: {word}" for word in (*single, *pairs)]


def names(node: ast.AST) -> Iterator[str]:
    """Names that a node gives or uses, and texts that are nothing but a name."""
    for field in ("id", "attr", "name", "asname", "arg", "module"):
        value = getattr(node, field, None)
        if isinstance(value, str):
            yield value
    value = getattr(node, "value", None)
    if isinstance(value, str) and re.fullmatch(r"[\w.-]{2,64}", value):
        yield value


def texts(node: ast.AST) -> Iterator[str]:
    """Texts that a node holds; an f-string with its placeholders in place."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(
            f"{{{ast.unparse(part.value)}}}"
            if isinstance(part, ast.FormattedValue)
            else ast.literal_eval(part)
            for part in node.values
        )
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.Constant) and isinstance(node.value, bytes):
        yield node.value.decode("utf-8", "replace")


def text_faults(text: str) -> list[str]:
    flat = re.sub(r"[ \t]*\n[ \t]*", "\n", text)
    joined = flat.replace("\n", " ")
    return [
        f"the text {match.group()[:60]!r}"
        for pattern in PHRASES
        if (match := pattern.search(flat) or pattern.search(joined))
    ]


def client_faults(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        modules = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        modules = [f"{node.module}.{alias.name}" for alias in node.names]
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        modules = [node.value] if re.fullmatch(r"[\w.]{2,64}", node.value) else []
    else:
        return []
    return [
        f"the client {client}"
        for module in modules
        for client in CLIENTS
        if f"{module}.".startswith(f"{client}.") or module.startswith(f"{client}_")
    ]


def message_faults(node: ast.AST) -> list[str]:
    """The shape of a chat message: a dict with a role and a content."""
    if isinstance(node, ast.Dict):
        keys = {key.value for key in node.keys if isinstance(key, ast.Constant)}
    elif isinstance(node, ast.Call) and ast.unparse(node.func) == "dict":
        keys = {keyword.arg for keyword in node.keywords}
    else:
        return []
    return ["a chat message"] if {"role", "content"} <= keys else []


def faults(text: str) -> list[str]:
    """Everything in a module that interprets content, or looks as if it would."""
    found: list[str] = []
    for node in ast.walk(ast.parse(text)):
        found += client_faults(node) + message_faults(node)
        for name in names(node):
            found += name_faults(name)
        for one in texts(node):
            found += text_faults(one)
    return sorted(set(found))


def is_product(path: str) -> bool:
    return path.startswith(("nexus_core/", "contracts/src/")) or bool(
        re.match(r"plugins/[^/]+/src/", path)
    )


def test_no_module_interprets_content(files: dict[str, str]) -> None:
    """No module of the core, the suite or a plugin prompts, ranks, rewrites or summarises."""
    swept = {
        path: text for path, text in files.items() if is_product(path) and path.endswith(".py")
    }
    assert "nexus_core/_flows/retrieve.py" in swept
    assert len(swept) > 50
    found = {path: these for path, text in swept.items() if (these := faults(text))}
    assert found == {}


def test_no_file_beside_the_modules_interprets_content(files: dict[str, str]) -> None:
    """No data file, template or name of a file that is shipped holds a prompt either."""
    found = {}
    for path, text in files.items():
        if not is_product(path):
            continue
        these = name_faults(PurePosixPath(path).stem)
        if PurePosixPath(path).suffix in PROMPT_FILES:
            these.append("a template for prompts")
        if not path.endswith(".py"):
            these += text_faults(text)
        if these:
            found[path] = these
    assert found == {}


PLANTED = {
    "import": "import openai",
    "import-from": "from langchain_core.messages import HumanMessage",
    "import-late": "def f():\n    from transformers import pipeline",
    "import-dynamic": "import importlib\nimportlib.import_module('anthropic')",
    "import-nested": "from google import generativeai",
    "prompt-constant": 'TEMPLATE = "You are a careful archivist. Answer the question below."',
    "prompt-lines": 'TEXT = """\nUse only the following\ncontext to reply.\n"""',
    "prompt-f-string": 'def f(context, question): return f"{context}\\n\\n{question}"',
    "prompt-format": 'x = "Documents: {documents} Query: {query}"',
    "prompt-bytes": 'x = b"Summarize the following text"',
    "prompt-docstring": 'def f():\n    """Think about it step by step."""',
    "prompt-roles": 'x = "System: be brief\\nHuman: hello"',
    "prompt-tokens": 'x = "<|im_start|>user"',
    "message": 'x = [{"role": "user", "content": text}]',
    "message-call": 'x = dict(role="user", content=text)',
    "name-function": "def rerank(hits): ...",
    "name-camel": "class HitReranker: ...",
    "name-argument": "def query(k, *, score_threshold=None): ...",
    "name-keyword": "search(query, min_score=0.5)",
    "name-attribute": "hits.summarize()",
    "name-variable": "ranking = sorted(hits)",
    "name-key": 'options["relevance"]',
    "name-setting": 'option("--similarity-threshold")',
    "name-constant": "SYSTEM_PROMPT = x",
    "ranking-in-sql": 'sql = "SELECT id FROM t ORDER BY bm25(t)"',
}


@pytest.mark.parametrize("text", PLANTED.values(), ids=PLANTED)
def test_a_planted_interpretation_is_found(text: str) -> None:
    """Each way in which interpretation could creep in is found by the sweep."""
    assert faults(text)


LAWFUL = [
    'summary = "exact search in one file"',
    "def query(k, *, where=None): return sorted(hits, key=lambda hit: (hit.distance, hit.id))",
    '"""Stores, indexes, retrieves and logs; never interprets or rewrites content."""',
    'raise ValueError("the role is not one of owner, admin, member, viewer")',
    'x = {"role": context.role, "actor": context.actor}',
    'x = f"{scope.tenant_id}/{scope.env}"',
    'kinds = ("data", "research", "style", "content", "chat", "plan")',
    "max_depth = 8; min_size = 1; threshold_bytes = 2",
    'sql = "SELECT id FROM records WHERE id > ? ORDER BY id"',
    "from sentence_transformers import SentenceTransformer",
]


@pytest.mark.parametrize("text", LAWFUL)
def test_plumbing_is_not_taken_for_interpretation(text: str) -> None:
    """What storage has to say and do is not reported."""
    assert faults(text) == []
