/* The table of field numbers, as it is. */
    .section .rodata
    .global kb_proto_messages
    .global kb_proto_messages_end
    .hidden kb_proto_messages
    .hidden kb_proto_messages_end
kb_proto_messages:
    .incbin KUBUS_PROTO_MESSAGES
kb_proto_messages_end:
    .byte 0
    .section .note.GNU-stack,"",%progbits
