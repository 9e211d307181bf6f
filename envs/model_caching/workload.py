"""temporary"""
def load_slots(params): raise NotImplementedError
