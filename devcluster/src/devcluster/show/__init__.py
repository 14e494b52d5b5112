"""Tables: what plain ``kubectl get`` shows."""
