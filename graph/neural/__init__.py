"""Network layers that more than one room needs; they lie in the lowest of them, because imports only go up."""
