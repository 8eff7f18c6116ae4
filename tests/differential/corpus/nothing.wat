(module
  (func (export "wizer-initialize") ))
