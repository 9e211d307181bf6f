"""A hint to the processor: fetch the cache line of an array element before it is needed."""

from __future__ import annotations

from typing import Any

import numba

if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]  # the stub lacks numba's settings

    def prefetch(array: Any, index: Any, offset: int = 0) -> None:
        """Do nothing: only compiled code has cache lines to fetch."""

else:
    from llvmlite import ir
    from numba.core import types
    from numba.core.cgutils import get_item_pointer, unpack_tuple
    from numba.extending import intrinsic

    @intrinsic
    def prefetch(typing_context: Any, array: Any, index: Any, offset: Any) -> Any:
        """Fetch the cache line ``offset`` bytes into ``array[index]`` for writing; the index lies within bounds."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array_type, index_type, _ = signature.args
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
            place = builder.gep(builder.bitcast(pointer, byte), [arguments[2]])
            builder.call(hint, [place, word(1), word(3), word(1)])
            return context.get_dummy_value()

        return types.void(array, index, types.intp), generate
