"""The Streamlit dashboard; it speaks only HTTP and WebSocket to the API."""
