"""One spending or irreversible act, from proposal to outcome."""
