"""nginx as a process of this user: what its settings need beside a block for a server."""

from __future__ import annotations

from pathlib import Path

SETTINGS = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {block}
}}
"""


def prepare_nginx(folder: Path, block: str) -> list[str]:
    """Write settings with a block for a server, and return the command that starts nginx with them."""
    (folder / "nginx.conf").write_text(SETTINGS.format(folder=folder, block=block))
    return ["nginx", "-c", f"{folder}/nginx.conf", "-e", "stderr"]
