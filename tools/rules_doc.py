"""Writes docs/signer-rules.md from the rules' own file and the tables that test them: `python -m tools.rules_doc`.

The document can't say what the code doesn't: the sentence of a rule stands under its tag in signer/rules.py, and the
cases are the rows of tests/rules. A test compares the two.
"""

import ast
import sys
from itertools import pairwise
from pathlib import Path

from tests.rules.cases import RULES

from strongroom.signer.rules import Rule

ROOT = Path(__file__).parents[1]
HEAD = """# The rules of the signer's gate

Made from `src/strongroom/signer/rules.py` and `tests/rules/cases.py` by `python -m tools.rules_doc`; not written by
hand. Every signature of a payment key passes all of them, in this order. A refusal carries the tag. There is no
permissive mode. Each rule has cases that are taken and cases that are refused by it; they run in `make test`.

| rule | what must hold | taken, for example | refused, for example |
|---|---|---|---|
"""


def sentences() -> dict[str, str]:
    """What stands under each member of the enum."""
    tree = ast.parse((ROOT / "src/strongroom/signer/rules.py").read_text())
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Rule")
    said: dict[str, str] = {}
    for name, sentence in pairwise(body):
        if isinstance(name, ast.Assign) and isinstance(sentence, ast.Expr):
            said[ast.unparse(name.targets[0])] = " ".join(str(ast.literal_eval(sentence.value)).split())
    return said


def document() -> str:
    said = sentences()
    rows = []
    for rule in Rule:
        taken, refused = ("; ".join(case[0] for case in cases) for cases in RULES[rule])
        rows.append(f"| `{rule.value}` | {said[rule.name]} | {taken} | {refused} |\n")
    return HEAD + "".join(rows)


def main() -> int:
    (ROOT / "docs/signer-rules.md").write_text(document())
    return 0


if __name__ == "__main__":
    sys.exit(main())
