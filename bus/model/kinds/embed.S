/* The built-in kinds as bytes of the program. KUBUS_KINDS is the file's path. */
    .section .rodata
    .balign 16
    .global kb__kinds_bytes
    .hidden kb__kinds_bytes
    .global kb__kinds_bytes_end
    .hidden kb__kinds_bytes_end
kb__kinds_bytes:
    .incbin KUBUS_KINDS
kb__kinds_bytes_end:
    .byte 0
    .section .note.GNU-stack,"",%progbits
