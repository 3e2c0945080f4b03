"""What requests are charged: admitted before they are sent, settled when they end."""
