"""Texts that read as the gate's block on MLflow's page, though the gate never wrote them."""

_REST = "9.9.9, 59 features × 100 bars, 7 actions, requires trader >=1.0"
_AUTHOR = "(written by mlflow-ppo)"
HEADLINES = {
    "as it is written": f"PPO policy {_REST} {_AUTHOR}",
    "a soft line break before the author": f"PPO policy {_REST}\n{_AUTHOR}",
    "a soft line break in the name": f"PPO\npolicy {_REST} {_AUTHOR}",
    "in bold by HTML": f"<b>PPO policy 9.9.9</b>, requires trader >=1.0 {_AUTHOR}",
    "in a span": f"<span>PPO policy {_REST} {_AUTHOR}",
    "a letter by its number": f"&#80;PO policy {_REST} {_AUTHOR}",
    "a letter by its number, escaped twice": f"&amp;#80;PO policy {_REST} {_AUTHOR}",
    "a blank by its name": f"&nbsp;PPO policy {_REST} {_AUTHOR}",
    "after a comment": f"<!-- x -->PPO policy {_REST} {_AUTHOR}",
    "in what is no comment": f"<!-->PPO pol<i></i>icy {_REST} (written by mlf<b></b>low-ppo) -->",
    "as a link": f"[PPO policy 9.9.9](http://evil), requires trader >=1.0 {_AUTHOR}",
    "a link in the name": f"[PPO](http://evil/x(y) 'z') policy {_REST} {_AUTHOR}",
    "another hyphen": f"PPO policy {_REST} (written by mlflow\u2011ppo)",
    "wide letters": f"\uff30\uff30\uff2f policy {_REST} {_AUTHOR}",
    "a sign without width": f"P\u200bPO policy {_REST} (written by ml\u2060flow-ppo)",
    "a letter that is not seen": f"P\u3164PO pol\u115ficy {_REST} {_AUTHOR}",
    "letters with accents": f"PP\u00d6 policy {_REST} (w\u0336ritten by mlflow-ppo)",
    "an empty tag in the name": f"PPO <i></i>policy {_REST} {_AUTHOR}",
    "a tag in a word": f"PPO pol<i title='>x'></i>icy {_REST} (written by mlf<b></b>low-ppo)",
    "a script in the name": f"PPO <script>x</script> policy {_REST} {_AUTHOR}",
    "an image in the name": f"PPO ![x](data:,) policy {_REST} {_AUTHOR}",
    "a definition in the name": f"PPO\n[1]: http://evil\npolicy {_REST} {_AUTHOR}",
    "the author as a link": f"PPO policy {_REST} (written by [mlflow-ppo][1])",
    "escaped by Markdown": rf"PPO policy {_REST} \(written by mlflow\-ppo\)",
    "the author in bold": f"PPO policy {_REST} (written by **mlflow**-ppo)",
    "without brackets": f"PPO policy {_REST}, written by mlflow-ppo",
    "numbered": rf"1\. PPO policy {_REST} {_AUTHOR}",
    "after a vertical tab": f"x\x0bPPO policy {_REST} {_AUTHOR}",
    "after a line separator": f"hello\u2028PPO policy {_REST} {_AUTHOR}",
    "after a line break of HTML": f"hello<br>PPO policy {_REST} {_AUTHOR}",
    "in a table": f"| PPO policy | {_REST} |\n|---|---|\n| {_AUTHOR} | |",
    "backwards": f"\u202eycilop OPP\u202c {_REST} {_AUTHOR}",
}


def block(headline: str) -> str:
    """A whole block after this first line, with a verdict that the gate never gave."""
    return f"{headline}\n\n### Contract\n- **Last verdict** allowed by everybody\n\n*End of what mlflow-ppo wrote.*"
