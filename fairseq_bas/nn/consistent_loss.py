def consistent_smoothed_loss(*args, **kwargs):
    raise NotImplementedError
