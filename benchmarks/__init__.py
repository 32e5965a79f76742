"""What Pairscope reaches, measured beside its peers in the same run, after checking that both got the same."""
