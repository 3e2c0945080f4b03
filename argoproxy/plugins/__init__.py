"""Plug-ins: classes of operators that extend the proxy."""
