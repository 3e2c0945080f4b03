"""Alibaba Cloud's DashScope (Model Studio), in its native protocol."""
