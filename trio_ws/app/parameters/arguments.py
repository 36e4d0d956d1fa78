"""The arguments of one function, resolved for a connection, without those of its caller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from trio_ws.app.parameters.signature import ParameterSource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trio_ws.app.parameters.signature import Parameter, Signature

__all__ = ["Arguments"]


@attrs.frozen(eq=False, repr=False)
class Arguments:
    """The arguments of a function, without those of its caller."""

    signature: Signature
    values: Mapping[str, Any]
    """By the names of the parameters."""

    def fill(self, **provided: Any) -> tuple[list[Any], dict[str, Any]]:
        """Return the positional and the keyword arguments.

        Args:
            provided: by their keys; others than the function's are left out. The name of any other parameter
                stands for that one instead of the value that it would have.

        Raises:
            TypeError: something is not provided, and has no default.
        """
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for parameter in self.signature.parameters:
            value = self._value(parameter, provided)
            if parameter.source is ParameterSource.PATH_REST:
                kwargs.update(value)
            elif parameter.by_position:
                args.append(value)
            else:
                kwargs[parameter.name] = value
        return args, kwargs

    def bound(self, function: Callable[..., Any], key: str | None) -> Callable[[Any], Any]:
        """Return a function of the one argument that its caller provides; each message is passed to it.

        Args:
            function: that the arguments are for.
            key: of the parameter that takes the caller's argument; None if no parameter does.

        Raises:
            TypeError: as `fill` raises it.
        """
        value = object()
        args, kwargs = self.fill(**({} if key is None else {key: value}))
        places = [at for at, each in enumerate(args) if each is value]
        if not places:
            names = [name for name, each in kwargs.items() if each is value]
            return lambda given: function(*args, **{**kwargs, **dict.fromkeys(names, given)})
        before, after = args[: places[0]], args[places[0] + 1 :]
        if before or after or kwargs:
            return lambda given: function(*before, given, *after, **kwargs)
        return function

    def _value(self, parameter: Parameter, provided: Mapping[str, Any]) -> Any:
        key = parameter.key if parameter.source is ParameterSource.PROVIDED else parameter.name
        if key in provided:
            return provided[key]
        if parameter.name in self.values:
            return self.values[parameter.name]
        raise TypeError(f"{self.signature.label} is called without {key!r}, which its plan counts on")
