"""The adapter for the native API of Alibaba Cloud's DashScope (Model Studio)."""
