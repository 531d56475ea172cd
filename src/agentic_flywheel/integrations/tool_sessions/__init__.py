"""Sessions that tool calls name by their handles: what is the same in every framework for MCP servers."""
