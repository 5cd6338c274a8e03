"""A dictionary as TOML: just what configurations need."""
import json
import re


def value(v):
    if isinstance(v, bool):
        return "true" if v else "false"
    if isinstance(v, (int, float)):
        return str(v)
    if isinstance(v, str):
        return json.dumps(v)
    if isinstance(v, (list, tuple)):
        return "[" + ", ".join(value(x) for x in v) + "]"
    if isinstance(v, dict):
        return "{ " + ", ".join(f"{key(k)} = {value(x)}" for k, x in v.items()) + " }"
    return json.dumps(str(v))


def key(k):
    return k if re.fullmatch(r"[A-Za-z0-9_-]+", k) else json.dumps(k)


def dumps(table, path=()):
    lines = [f"{key(k)} = {value(v)}" for k, v in table.items() if not isinstance(v, dict)]
    text = "".join(line + "\n" for line in lines)
    if path and (lines or not table):
        text = f"[{'.'.join(map(key, path))}]\n" + text
    for k, v in table.items():
        if isinstance(v, dict):
            text += dumps(v, path + (k,))
    return text
