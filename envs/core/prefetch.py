"""A hint to the processor: fetch the cache line of an array element before it is needed."""

from __future__ import annotations

from typing import Any

import numba

if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]  # the stub lacks numba's settings

    def prefetch(array: Any, index: Any) -> None:
        """Do nothing: only compiled code has cache lines to fetch."""

else:
    from llvmlite import ir
    from numba.core import types
    from numba.core.cgutils import get_item_pointer, unpack_tuple
    from numba.extending import intrinsic

    @intrinsic
    def prefetch(typing_context: Any, array: Any, index: Any) -> Any:
        """Fetch the cache line of ``array[index]`` for writing; the index is a tuple of integers within bounds."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array_type, index_type = signature.args
            struct = context.make_array(array_type)(context, builder, arguments[0])
            position = [
                context.cast(builder, value, kind, types.intp)
                for value, kind in zip(unpack_tuple(builder, arguments[1]), index_type, strict=True)
            ]
            pointer = get_item_pointer(context, builder, array_type, struct, position)
            byte = ir.IntType(8).as_pointer()
            word = ir.IntType(32)
            function_type = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
            hint = builder.module.globals.get("llvm.prefetch.p0") or ir.Function(
                builder.module, function_type, "llvm.prefetch.p0"
            )
            builder.call(hint, [builder.bitcast(pointer, byte), word(1), word(3), word(1)])
            return context.get_dummy_value()

        return types.void(array, index), generate
