"""What a person is answered who asks for what is kept of them, or to have it erased."""
