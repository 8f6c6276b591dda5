/* The page's template, as it is. */
    .section .rodata
    .global kb__sim_page
    .global kb__sim_page_end
    .hidden kb__sim_page
    .hidden kb__sim_page_end
kb__sim_page:
    .incbin KUBUS_SIM_PAGE
kb__sim_page_end:
    .byte 0
    .section .note.GNU-stack,"",%progbits
