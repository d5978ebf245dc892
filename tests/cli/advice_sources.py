"""The advice that the program can give, read from its sources: each place that makes an error with a fix, and each
sentence that names an option or a command to type."""
import re
from dataclasses import dataclass
from pathlib import Path

TOKEN = re.compile(
    r'(?P<comment>//[^\n]*|/\*.*?\*/)|R"(?P<mark>[^(\s]*)\((?P<raw>.*?)\)(?P=mark)"'
    r'|"(?P<text>(?:\\.|[^"\\\n])*)"|(?P<char>\'(?:\\.|[^\'\\])+\'(?!\w))|(?P<word>[A-Za-z_]\w*|\d[\w.\']*)'
    r'|(?P<mark1>::|->|\S)', re.S)
OPEN, CLOSE = {"(": ")", "{": "}", "[": "]"}, {")", "}", "]"}
# The methods of Arguments that declare an option: their texts are help.
DECLARATIONS = {"value", "text", "whole", "number", "flag", "positional", "group"}


@dataclass(frozen=True)
class Token:
    kind: str  # text, word or mark
    value: str
    line: int


def tokens_of(source):
    """Its tokens without comments; strings that stand side by side are one."""
    tokens = []
    for match in TOKEN.finditer(source):
        line = source.count("\n", 0, match.start()) + 1
        text = match["raw"] if match["raw"] is not None else match["text"]
        if match["comment"] is not None:
            continue
        if text is not None:
            if match["raw"] is None:
                text = text.replace("\\n", "\n").replace("\\t", "\t").replace('\\"', '"').replace("\\\\", "\\")
            if tokens and tokens[-1].kind == "text":
                tokens[-1] = Token("text", tokens[-1].value + text, tokens[-1].line)
            else:
                tokens.append(Token("text", text, line))
        elif match["word"] is not None:
            tokens.append(Token("word", match["word"], line))
        else:
            tokens.append(Token("mark", match["mark1"] or match["char"], line))
    return tokens


def arguments_at(tokens, opening):
    """The parts between the commas of the bracket at `opening`, and the place behind it."""
    depth, at, parts = 0, opening, [[]]
    while at < len(tokens):
        token = tokens[at]
        if token.kind == "mark" and token.value in OPEN:
            depth += 1
            if depth > 1:
                parts[-1].append(token)
        elif token.kind == "mark" and token.value in CLOSE:
            depth -= 1
            if depth == 0:
                break
            parts[-1].append(token)
        elif token.kind == "mark" and token.value == "," and depth == 1:
            parts.append([])
        else:
            parts[-1].append(token)
        at += 1
    return [part for part in parts if part], at + 1


def texts(tokens):
    return tuple(t.value for t in tokens if t.kind == "text" and re.search(r"[A-Za-z]{2}|-", t.value))


@dataclass(frozen=True)
class Advice:
    """A place in the sources that gives advice: `parts` are the texts that its message can hold, argument by
    argument; `fix` those of the advice."""
    file: str
    line: int
    parts: tuple
    fix: tuple

    def __str__(self):
        return f"{self.file}:{self.line}: {' | '.join(self.fix)}"


def name_before(tokens, opening):
    """Of the function or lambda whose parameters open here."""
    before = opening - 1
    if before >= 0 and tokens[before].kind == "word":
        return tokens[before].value
    if before >= 0 and tokens[before].value == "]":  # const auto NAME = [&](
        while before > 0 and tokens[before].value != "[":
            before -= 1
        if before > 1 and tokens[before - 1].value == "=":
            return tokens[before - 2].value
    return None


def makers_of_errors(tokens):
    """{(name, number of arguments): which one is the fix} of the functions that take one, and of Error itself."""
    makers = {("Error", 5): 4}
    for at, token in enumerate(tokens):
        if token.kind != "mark" or token.value != "(":
            continue
        parameters, _ = arguments_at(tokens, at)
        for k, parameter in enumerate(parameters):
            values = [t.value for t in parameter]
            if any(pair in (("&", "fix"), ("*", "fix")) for pair in zip(values, values[1:])):
                name = name_before(tokens, at)
                if name:
                    makers[(name, len(parameters))] = k
    return makers


def named_texts(tokens):
    """{name: the texts that a constant, a variable or a function of this file can stand for}"""
    named = {}
    for at in range(1, len(tokens) - 1):
        if tokens[at].kind != "word":
            continue
        end = at + 1
        if tokens[end].value == "=" and tokens[at - 1].value in ("*", "&", "string"):
            while end < len(tokens) and tokens[end].value not in (";", "{"):
                end += 1
        elif tokens[end].value == "(" and tokens[at - 1].kind == "word" and tokens[at].value.endswith("fix_text"):
            depth = 0
            while end < len(tokens):
                depth += {"{": 1, "}": -1}.get(tokens[end].value, 0) if tokens[end].kind == "mark" else 0
                if depth == 0 and tokens[end].value in ("}", ";"):
                    break
                end += 1
        found = texts(tokens[at + 1:end])
        if found:
            named[tokens[at].value] = named.get(tokens[at].value, ()) + found
    return named


def advice_in(file, source, makers_of_headers):
    tokens = tokens_of(source)
    makers = {**makers_of_headers, **makers_of_errors(tokens)}
    named = named_texts(tokens)
    found, inside = [], set()
    for at, token in enumerate(tokens):
        if token.kind != "mark" or token.value != "(":
            continue
        name = name_before(tokens, at)
        arguments, end = arguments_at(tokens, at)
        # A variable's name may stand between: const Error error(...).
        if name and tokens[at - 2].value == "Error":
            name = "Error"
        if name in DECLARATIONS and tokens[at - 2].value == "." and texts(arguments[0][:1] if arguments else []):
            inside.update(range(at, end))
        which = makers.get((name, len(arguments)))
        if which is None:
            continue
        fix = texts(arguments[which])
        behind = arguments[which][1:] + [Token("mark", "", 0)]
        for word, follower in zip(arguments[which], behind):
            if word.kind == "word" and follower.value not in (".", "->"):
                fix += named.get(word.value, ())
        if fix:
            parts = tuple(texts(a) for k, a in enumerate(arguments) if k != which and texts(a))
            found.append(Advice(file, token.line, parts, fix))
            inside.update(range(at, end))
    for at, token in enumerate(tokens):
        if token.kind == "text" and at not in inside and names_something_to_type(token.value):
            found.append(Advice(file, token.line, (), (token.value,)))
    return found


def names_something_to_type(text):
    return (bool(re.search(r"(?<![\w-])--[a-z]|\bonecycle [a-z{]", text)) and " " in text.strip()
            and not text.startswith("cannot "))


def all_advice(root):
    """Of every source below `root`."""
    sources = {str(p.relative_to(root)): p.read_text() for p in sorted(Path(root).rglob("*"))
               if p.suffix in (".cpp", ".h", ".cu")}
    makers = {}
    for name, source in sources.items():
        if name.endswith(".h"):
            makers.update(makers_of_errors(tokens_of(source)))
    return [advice for name, source in sources.items() for advice in advice_in(name, source, makers)]


def pattern_of(text):
    """What matches `text` when its {} have been filled in, wherever lines are broken."""
    parts = [r"\s+".join(re.escape(word) for word in re.split(r"\s+", part)) for part in re.split(r"\{[^{}]*\}", text)]
    return ".*".join(parts)


if __name__ == "__main__":
    import sys
    for advice in all_advice(sys.argv[1]):
        print(advice, "   ##", advice.parts)
