"""Files about settings, generated from their declarations: docs/settings.md, config.sample.yaml and .env.example.

`python -m argoproxy.config.values.reference` writes them, in the root of the repository; the sample also as a file of
the package.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from argoproxy.config.options.declaration import Setting, settings_of
from argoproxy.config.values.settings import GROUPS, SETTINGS

COMMAND = "python -m argoproxy.config.values.reference"
#: Settings that are set in .env.example: the file works as it is, except for the key.
ENV_EXAMPLES = {"OPENAI_API_KEY": "your_openai_api_key_here", "PORT": "8000"}
#: The eight settings of argo-proxy's own sample file, which are set in ours.
SAMPLE_HEAD = f"""\
port: 44497
argo_url: "https://apps-dev.inside.anl.gov/argoapi/api/v1/resource/chat/"
argo_stream_url: "https://apps-dev.inside.anl.gov/argoapi/api/v1/resource/streamchat/"
argo_embedding_url: "https://apps.inside.anl.gov/argoapi/api/v1/resource/embed/"
user: "your_username" # set during first-time setup
verbose: true # can be changed during setup
num_workers: 5
timeout: 600 # in seconds

# These eight settings put the proxy in front of the Argo gateway. All others follow with their defaults: to change one,
# remove the # before it (and before the section that it stands in). For another upstream, remove the argo_ keys above
# and set target_base_url. Environment variables and flags win over this file; docs/settings.md has their names.
# Durations are seconds, 90s, 60000ms or 10m.
# This file is generated: {COMMAND}
"""
SETTINGS_HEAD = f"""\
# Settings

<!-- This page is generated: {COMMAND} -->

A setting is made in the config file, in `.env`, in the environment or by a flag; of these, the last one wins. The
config file is `config.yaml`, or the one that the command line or `CONFIG_PATH` names.
[config.sample.yaml](../config.sample.yaml) holds all settings with their defaults.

```bash
./run_app.sh config show          # print all settings and where each is set, secrets starred
./run_app.sh config validate      # print all mistakes at once
./run_app.sh serve --help         # print all flags
```

A key with a dot stands in a section of the file; it may as well be written at the top of the file, under the second
name. Set one of them: both in one file are an error.

```yaml
images:
  timeout: 10s               # the same as `image_timeout: 10s` at the top of the file
```

Durations are seconds, `90s`, `60000ms` or `10m`; only the flag `--timeout` counts milliseconds. In the environment,
lists are separated by commas. `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY` and, for certificates,
`REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE`, `SSL_CERT_FILE` ([the first that is set](deploy.md#certificates)) are read at
the start.
"""
OLDER_TEXT = """\
They work as before. Where an older setting and the one that replaces it are both set, the one from the stronger source
counts (a flag, the environment, `.env`, the file), from the same source the newer one.
"""
ENV_HEAD = f"""\
# Copy this file to .env and change what you need. The environment wins over it, it wins over config.yaml.
# docs/settings.md tells what each variable is for. This file is generated: {COMMAND}
"""


def generate() -> dict[str, str]:
    """Return the files by their paths in the repository."""
    sample = SAMPLE_HEAD + "".join(map(_sample_of_group, GROUPS))
    return {
        "docs/settings.md": SETTINGS_HEAD + "".join(map(_page_of_group, GROUPS)),
        "config.sample.yaml": sample,
        "argoproxy/data/config.sample.yaml": sample,
        ".env.example": ENV_HEAD + "".join(f"{name}={value}\n" for name, value in ENV_EXAMPLES.items()) + _env_lines(),
    }


def _page_of_group(group: type) -> str:
    settings = list(settings_of(group))
    rows = "\n".join(map(_row, settings))
    intro = f"{OLDER_TEXT}\n" if settings[0].replaced_by else ""
    head = "| In the file | Variable, flags | Default | |\n| --- | --- | --- | --- |\n"
    return f"\n## {group.__doc__}\n\n{intro}{head}{rows}\n"


def _row(setting: Setting) -> str:
    keys = ", ".join(f"`{key}`" for key in dict.fromkeys((setting.path, setting.key)))
    flags = [name for flag in setting.flags for name in flag.names]
    names = ", ".join(f"`{name}`" for name in (setting.environment, *flags) if name)
    default = "" if setting.default is None else f"`{_plain(setting.default)}`"
    about = f"{setting.about} ([more]({setting.page}))" if setting.page else setting.about
    return f"| {keys} | {names} | {default} | {about} |"


def _sample_of_group(group: type) -> str:
    live = SAMPLE_HEAD.split("\n\n", maxsplit=1)[0]
    settings = [one for one in settings_of(group) if f"{one.key}:" not in live and not one.replaced_by]
    if not settings:
        return ""
    section = settings[0].section
    lines = [line for setting in settings for line in _sample_lines(setting, "  " if section else "")]
    return "\n".join(("", f"# {group.__doc__}.", *([f"#{section}:"] if section else []), *lines, ""))


def _sample_lines(setting: Setting, indent: str) -> Iterator[str]:
    """Yield what a setting is for, and the setting with its default: a comment, which is valid without its first #."""
    page = f" (docs/{setting.page.partition('#')[0]})" if setting.page else ""
    for line in textwrap.wrap(setting.about + page, 112):
        yield f"#{indent}# {line}" if indent else f"# {line}"
    default = "" if setting.default is None else json.dumps(setting.default, ensure_ascii=False)
    yield f"#{indent}{setting.name}: {default}".rstrip()


def _env_lines() -> str:
    blocks = []
    for group in GROUPS:
        lines = [
            f"# {setting.environment}={_plain(setting.default)}"
            for setting in settings_of(group)
            if setting.environment and setting.environment not in ENV_EXAMPLES and not setting.replaced_by
        ]
        if lines:
            blocks.append("\n".join(("", f"# {group.__doc__}:", *lines, "")))
    return "".join(blocks)


def _plain(value: Any) -> str:
    """Return a default as it is written in the environment."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Write the files into the current folder."""
    for path, text in generate().items():
        Path(path).write_text(text, encoding="utf-8")
        print(f"{path}: {len(SETTINGS)} settings")


if __name__ == "__main__":
    main()
